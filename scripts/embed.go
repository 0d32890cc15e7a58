// Package scripts holds the scripts that people run as they are, and the
// starter that "assay init" writes. It embeds them and knows nothing else.
package scripts

import "embed"

// FS holds the scripts, _template.star among them, and the sample skills.
//
//go:embed *.star _template.star all:samples
var FS embed.FS
