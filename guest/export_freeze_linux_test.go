package guest

// Hold is what bounds a freeze.
var Hold = hold
