// Package stdlib holds the Starlark modules that scripts load as
// "@stdlib//NAME.star", the default policy among them. It embeds them and knows
// nothing else.
package stdlib

import "embed"

// FS holds the modules: skill.star, checks.star, policy/default.star, …
//
//go:embed *.star policy/*.star
var FS embed.FS
