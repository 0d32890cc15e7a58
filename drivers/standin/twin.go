package standin

// Twin is Clone, and the new guest has the snapshot too: restored, it runs on from
// the snapshot's memory, as hypervisors let clones do that copy it.
func (g *Guest) Twin(name, snapshot string) (*Guest, error) {
	twin, err := g.Clone(name, snapshot)
	if err != nil {
		return nil, err
	}
	g.own.Lock()
	defer g.own.Unlock()
	i, err := g.find(snapshot)
	if err != nil {
		return nil, err
	}
	s := g.saved[i]
	s.Parent = ""
	twin.own.Lock()
	defer twin.own.Unlock()
	twin.saved = []Snapshot{s}
	return twin, nil
}
