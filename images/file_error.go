package images

// A FileError says that the file to import is no disk that can be: the caller
// named the wrong one.
type FileError struct{ Err error }

func (e *FileError) Error() string { return e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }
