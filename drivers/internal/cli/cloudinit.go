package cli

import (
	"context"
	"fmt"

	"assay/guest"
)

// cloudInitScript waits for cloud-init, if there is one. With what result does not
// count: a module that failed is the image's affair.
const cloudInitScript = "command -v cloud-init >/dev/null || exit 0; cloud-init status --wait >/dev/null 2>&1 || :"

// CloudInit waits until cloud-init is done with a guest that booted for the first
// time.
func CloudInit(ctx context.Context, c *guest.Client) error {
	_, err := c.Exec(ctx, guest.Command{Shell: cloudInitScript, User: "root", Timeout: settleLimit}, nil, nil, nil)
	if err != nil {
		return fmt.Errorf("wait for cloud-init: %w", err)
	}
	return nil
}
