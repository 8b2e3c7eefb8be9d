// The Lua interpreter that Argo CD has, pinned: health checks and actions for Argo CD are tested with it.
module tidemill.dev/tools/argolua

go 1.26.0

require github.com/yuin/gopher-lua v1.1.2
