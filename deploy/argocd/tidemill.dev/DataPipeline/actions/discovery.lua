-- What may be done with a DataPipeline: pause, resume, run.
local annotations = obj.metadata.annotations or {}
local paused = annotations["tidemill.dev/paused"] ~= nil
local going = obj.metadata.deletionTimestamp ~= nil
return {
  ["pause"] = {["disabled"] = paused or going, ["iconClass"] = "fa fa-fw fa-pause", ["displayName"] = "Pause"},
  ["resume"] = {["disabled"] = not paused or going, ["iconClass"] = "fa fa-fw fa-play", ["displayName"] = "Resume"},
  ["run"] = {["disabled"] = going, ["iconClass"] = "fa fa-fw fa-bolt", ["displayName"] = "Run now"},
}
