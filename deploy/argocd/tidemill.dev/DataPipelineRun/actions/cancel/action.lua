-- The run stops at its next border; one that hasn't begun never does.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["tidemill.dev/cancel"] = "cancelled in Argo CD"
return obj
