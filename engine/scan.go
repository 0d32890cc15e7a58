package engine

import (
	"fmt"
	"slices"

	"go.starlark.net/syntax"
)

// A scan looks in a script's text for what it will call in any case. What stands
// under a condition, or after one that may end the function, does not count: a
// script may ask what a machine can do.
type scan struct {
	verbs map[string]Builtin
	defs  map[string]*syntax.DefStmt

	test   string
	types  map[string]string // what the variables hold that a verb's result went into
	inside []string          // functions that are being followed
	needs  []need
}

// scanNeeds lists what a script's top level, and each of its tests, needs.
func scanNeeds(file *syntax.File, builtins []Builtin, tests []string) []need {
	s := &scan{verbs: map[string]Builtin{}, defs: map[string]*syntax.DefStmt{}}
	for _, b := range builtins {
		s.verbs[b.Name] = b
	}
	for _, name := range bound(file) {
		delete(s.verbs, name)
	}
	if s.picksDriver(file) {
		return nil // which of its machines is meant, the text does not tell
	}
	for _, stmt := range file.Stmts {
		if def, ok := stmt.(*syntax.DefStmt); ok {
			s.defs[def.Name.Name] = def
		}
	}
	s.types = map[string]string{}
	s.block(file.Stmts)
	for _, test := range tests {
		s.test, s.types = test, map[string]string{}
		s.follow(test)
	}
	return s.needs
}

// bound lists the names that a script gives meanings of its own.
func bound(file *syntax.File) (names []string) {
	for _, stmt := range file.Stmts {
		switch stmt := stmt.(type) {
		case *syntax.DefStmt:
			names = append(names, stmt.Name.Name)
		case *syntax.AssignStmt:
			if id, ok := stmt.LHS.(*syntax.Ident); ok {
				names = append(names, id.Name)
			}
		case *syntax.LoadStmt:
			for _, id := range stmt.To {
				names = append(names, id.Name)
			}
		}
	}
	return names
}

// call returns the verb that an expression calls.
func (s *scan) call(e syntax.Node) (b Builtin, call *syntax.CallExpr, ok bool) {
	call, ok = e.(*syntax.CallExpr)
	if !ok {
		return b, nil, false
	}
	id, ok := call.Fn.(*syntax.Ident)
	if !ok {
		return b, nil, false
	}
	b, ok = s.verbs[id.Name]
	return b, call, ok
}

// picksDriver reports whether some verb is told a driver.
func (s *scan) picksDriver(file *syntax.File) (picks bool) {
	syntax.Walk(file, func(n syntax.Node) bool {
		if b, call, ok := s.call(n); ok && argument(b, call, "driver") != nil {
			picks = true
		}
		return true
	})
	return picks
}

// argument returns the expression that a call gives for a parameter; nil if it
// gives none.
func argument(b Builtin, call *syntax.CallExpr, param string) syntax.Expr {
	for i, arg := range call.Args {
		if kw, ok := arg.(*syntax.BinaryExpr); ok && kw.Op == syntax.EQ {
			if id, ok := kw.X.(*syntax.Ident); ok && id.Name == param {
				return kw.Y
			}
		} else if i < len(b.Params) && b.Params[i].Name == param && !b.Params[i].Keyword {
			return arg
		}
	}
	return nil
}

// bootsNone reports whether all machines that a script launches are there already.
func bootsNone(file *syntax.File, builtins []Builtin) bool {
	s := &scan{verbs: map[string]Builtin{}}
	for _, b := range builtins {
		if slices.ContainsFunc(b.needs, func(n Need) bool { return n.NoImage }) {
			s.verbs[b.Name] = b
		}
	}
	launches, none := 0, 0
	syntax.Walk(file, func(n syntax.Node) bool {
		b, call, ok := s.call(n)
		if !ok {
			return true
		}
		launches++
		if slices.ContainsFunc(b.needs, func(n Need) bool { return n.NoImage && argument(b, call, n.Param) != nil }) {
			none++
		}
		return true
	})
	return launches > 0 && none == launches
}

// follow scans a function of the script.
func (s *scan) follow(name string) {
	def := s.defs[name]
	if def == nil || slices.Contains(s.inside, name) {
		return
	}
	s.inside = append(s.inside, name)
	s.block(def.Body)
	s.inside = s.inside[:len(s.inside)-1]
}

// block scans statements up to the first after which the rest may not run.
func (s *scan) block(stmts []syntax.Stmt) {
	for _, stmt := range stmts {
		switch stmt := stmt.(type) {
		case *syntax.ExprStmt:
			s.expr(stmt.X)
		case *syntax.AssignStmt:
			s.expr(stmt.RHS)
			s.assign(stmt)
		case *syntax.IfStmt:
			s.expr(stmt.Cond)
		case *syntax.ForStmt:
			s.expr(stmt.X)
		case *syntax.ReturnStmt:
			s.expr(stmt.Result)
			return
		}
		if mayEnd(stmt) {
			return
		}
	}
}

// mayEnd reports whether a condition or loop holds a return or a call of fail.
func mayEnd(stmt syntax.Stmt) (ends bool) {
	switch stmt.(type) {
	case *syntax.IfStmt, *syntax.ForStmt:
	default:
		return false
	}
	syntax.Walk(stmt, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.DefStmt, *syntax.LambdaExpr:
			return false
		case *syntax.ReturnStmt:
			ends = true
		case *syntax.CallExpr:
			id, ok := n.Fn.(*syntax.Ident)
			ends = ends || ok && id.Name == "fail"
		}
		return true
	})
	return ends
}

// assign notes what a variable holds.
func (s *scan) assign(stmt *syntax.AssignStmt) {
	id, ok := stmt.LHS.(*syntax.Ident)
	if !ok {
		return
	}
	delete(s.types, id.Name)
	if b, _, ok := s.call(stmt.RHS); ok {
		s.types[id.Name] = b.Result
	}
}

// expr scans an expression, without the parts that may not be evaluated.
func (s *scan) expr(e syntax.Expr) {
	switch e := e.(type) {
	case *syntax.CallExpr:
		s.callExpr(e)
	case *syntax.CondExpr:
		s.expr(e.Cond)
	case *syntax.BinaryExpr:
		if e.Op != syntax.EQ { // a keyword is no variable
			s.expr(e.X)
		}
		if e.Op != syntax.AND && e.Op != syntax.OR {
			s.expr(e.Y)
		}
	case *syntax.UnaryExpr:
		s.expr(e.X)
	case *syntax.ParenExpr:
		s.expr(e.X)
	case *syntax.DotExpr:
		s.expr(e.X)
	case *syntax.IndexExpr:
		s.exprs(e.X, e.Y)
	case *syntax.SliceExpr:
		s.exprs(e.X, e.Lo, e.Hi, e.Step)
	case *syntax.ListExpr:
		s.exprs(e.List...)
	case *syntax.TupleExpr:
		s.exprs(e.List...)
	case *syntax.DictExpr:
		s.exprs(e.List...)
	case *syntax.DictEntry:
		s.exprs(e.Key, e.Value)
	}
}

func (s *scan) exprs(all ...syntax.Expr) {
	for _, e := range all {
		s.expr(e)
	}
}

// callExpr scans a call: its arguments, and what it needs.
func (s *scan) callExpr(e *syntax.CallExpr) {
	s.expr(e.Fn)
	s.exprs(e.Args...)
	if b, call, ok := s.call(e); ok {
		s.note(b, call)
		return
	}
	if id, ok := e.Fn.(*syntax.Ident); ok {
		s.follow(id.Name)
	}
}

// note adds what a verb's call needs, once for each test.
func (s *scan) note(b Builtin, call *syntax.CallExpr) {
	start, _ := call.Span()
	for _, n := range b.needs {
		arg := argument(b, call, n.Param)
		if n.Param != "" && arg == nil || n.Type != "" && s.typeOf(arg) != n.Type {
			continue
		}
		known := func(o need) bool { return o.Ability == n.Ability && (o.Test == s.test || o.Test == "") }
		if !slices.ContainsFunc(s.needs, known) {
			s.needs = append(s.needs, need{n.Ability, s.test, fmt.Sprintf("%s:%d", start.Filename(), start.Line)})
		}
	}
}

// typeOf returns what an expression is known to be.
func (s *scan) typeOf(e syntax.Expr) string {
	if id, ok := e.(*syntax.Ident); ok {
		return s.types[id.Name]
	}
	if b, _, ok := s.call(e); ok {
		return b.Result
	}
	return ""
}
