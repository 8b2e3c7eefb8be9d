-- No scheduled run starts until the annotation is gone again. It isn't in Git, and no sync takes it away.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["tidemill.dev/paused"] = "paused in Argo CD"
return obj
