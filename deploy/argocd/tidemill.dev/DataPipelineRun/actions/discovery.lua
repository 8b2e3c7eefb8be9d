-- What may be done with a DataPipelineRun: cancel it while it is open.
local phase = obj.status ~= nil and obj.status.phase or "Pending"
local asked = obj.metadata.annotations ~= nil and obj.metadata.annotations["tidemill.dev/cancel"] ~= nil
local open = (phase == "Pending" or phase == "Running") and not asked
return {
  ["cancel"] = {["disabled"] = not open, ["iconClass"] = "fa fa-fw fa-stop", ["displayName"] = "Cancel"},
}
