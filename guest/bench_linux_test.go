package guest_test

import (
	"bytes"
	"testing"

	"assay/guest"
	"assay/guest/guesttest"
)

func BenchmarkRoundTrip(b *testing.B) {
	c, ctx := guesttest.Process(b, ""), limit(b)
	for b.Loop() {
		if err := c.Ping(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExec(b *testing.B) {
	c, ctx := guesttest.Process(b, cgroupRoot(b)), limit(b)
	for b.Loop() {
		if _, err := c.Exec(ctx, guest.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}

const bulk = 16 << 20

func BenchmarkPush(b *testing.B) {
	c, ctx, dir := guesttest.Process(b, ""), limit(b), openTemp(b)
	write(b, dir+"/src", string(bytes.Repeat([]byte("0123456789abcdef"), bulk/16)), 0o644)
	b.SetBytes(bulk)
	for b.Loop() {
		if _, err := c.Push(ctx, dir+"/src", dir+"/to", guest.PushOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPull(b *testing.B) {
	c, ctx, dir := guesttest.Process(b, ""), limit(b), openTemp(b)
	write(b, dir+"/src", string(bytes.Repeat([]byte("0123456789abcdef"), bulk/16)), 0o644)
	b.SetBytes(bulk)
	for b.Loop() {
		if _, err := c.Pull(ctx, dir+"/src", dir+"/to", guest.PullOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
