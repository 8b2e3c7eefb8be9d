-- Takes a person's pause back, whoever asked for it in Kubernetes. A pause in Temporal itself stays.
if obj.metadata.annotations ~= nil then
  obj.metadata.annotations["tidemill.dev/paused"] = nil
  if next(obj.metadata.annotations) == nil then
    obj.metadata.annotations = nil -- an empty table would become a list
  end
end
return obj
