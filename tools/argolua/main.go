// Runs a Lua script as Argo CD does: `obj` is a Kubernetes object, what the script returns is printed as JSON.
// Usage: argolua SCRIPT < object.json
//
// As there, only the basic, table and string libraries are loaded (of `os` the time), in gopher-lua, and a script has
// one second.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "argolua:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: argolua SCRIPT < object.json")
	}
	var object any
	if err := json.NewDecoder(os.Stdin).Decode(&object); err != nil {
		return err
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	open(state)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoFile(os.Args[1]); err != nil {
		return err
	}
	result, err := fromLua(state.Get(-1))
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func open(state *lua.LState) {
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
		{lua.StringLibName, lua.OpenString},
	} {
		state.Push(state.NewFunction(library.open))
		state.Push(lua.LString(library.name))
		state.Call(1, 0)
	}
	state.RegisterModule("os", map[string]lua.LGFunction{"time": now, "date": date})
}

func now(l *lua.LState) int {
	l.Push(lua.LNumber(time.Now().Unix()))
	return 1
}

func date(l *lua.LState) int {
	if l.OptString(1, "") != "!%Y%m%d-%H%M%S" {
		l.RaiseError("only the format that our scripts use is known here")
	}
	l.Push(lua.LString(time.Now().UTC().Format("20060102-150405")))
	return 1
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		table := state.CreateTable(len(value), 0)
		for _, each := range value {
			table.Append(toLua(state, each))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(value))
		for name, each := range value {
			table.RawSetString(name, toLua(state, each))
		}
		return table
	default:
		return lua.LNil
	}
}

func fromLua(value lua.LValue) (any, error) {
	switch value := value.(type) {
	case *lua.LNilType:
		return nil, nil
	case lua.LBool:
		return bool(value), nil
	case lua.LNumber:
		return float64(value), nil
	case lua.LString:
		return string(value), nil
	case *lua.LTable:
		return fromTable(value)
	default:
		return nil, fmt.Errorf("a %s is no JSON", value.Type())
	}
}

// An empty table is a list, as in Argo CD: a script must not leave an empty map where an object was.
func fromTable(table *lua.LTable) (any, error) {
	list := make([]any, 0, table.Len())
	object := map[string]any{}
	var failed error
	table.ForEach(func(key, each lua.LValue) {
		converted, err := fromLua(each)
		if err != nil {
			failed = err
		}
		if _, number := key.(lua.LNumber); number {
			list = append(list, converted)
		} else {
			object[key.String()] = converted
		}
	})
	if len(object) > 0 && len(list) > 0 {
		return nil, errors.New("a table is both a list and a map")
	}
	if len(object) > 0 {
		return object, failed
	}
	return list, failed
}
