package grade_test

import (
	"context"
	"testing"

	"assay/grade"
	"assay/stdlib"
)

// defaultPolicy loads the policy that scripts use when they name none.
func defaultPolicy(t testing.TB) *grade.Policy {
	t.Helper()
	p, err := grade.Load(context.Background(), stdlib.FS, grade.DefaultPolicy)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDefaultPolicyLoads(t *testing.T) {
	p := defaultPolicy(t)
	if p.String() != "default@1" || len(p.Rules()) < 40 {
		t.Errorf("got %s with %d rules, want default@1 with at least 40", p, len(p.Rules()))
	}
}
