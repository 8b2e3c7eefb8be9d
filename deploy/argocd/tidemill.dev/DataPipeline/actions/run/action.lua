-- One run now, by a DataPipelineRun that belongs to the pipeline and has the time in its name: keys never come again.
local os = require("os")
local metadata = obj.metadata
local run = {
  apiVersion = "tidemill.dev/v1alpha1",
  kind = "DataPipelineRun",
  metadata = {
    name = string.sub(metadata.name, 1, 230) .. "-" .. os.date("!%Y%m%d-%H%M%S"),
    namespace = metadata.namespace,
    ownerReferences = {
      {apiVersion = obj.apiVersion, kind = obj.kind, name = metadata.name, uid = metadata.uid},
    },
  },
  spec = {pipelineRef = {name = metadata.name}},
}
return {{operation = "create", resource = run}}
