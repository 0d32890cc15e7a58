//go:build !linux

package incus

import (
	"testing"

	"assay/drivers/standin"
)

func TestMain(m *testing.M) { standin.Main(m) }
