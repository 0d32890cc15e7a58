package guest

import (
	"context"
	"errors"
	"io"
)

// A Server is the agent's end of the line.
type Server struct {
	System   System             // what the calls act on
	Handlers map[string]Handler // methods of other rooms, by name
}

// Serve answers one line until it ends or ctx does, and closes it.
func (s *Server) Serve(ctx context.Context, conn io.ReadWriteCloser) error {
	return errors.ErrUnsupported
}
