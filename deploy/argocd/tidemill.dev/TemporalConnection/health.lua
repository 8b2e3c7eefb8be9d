-- Health of a TemporalConnection: from its conditions, once the operator has looked at the manifest as it is now.
local health = {status = "Progressing", message = "Waiting for the operator to look at it"}
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "It is being deleted"
  return health
end
if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end
for _, condition in ipairs(obj.status.conditions) do
  if condition.type == "Stalled" and condition.status == "True" then
    return {status = "Degraded", message = condition.message}
  elseif condition.type == "Ready" then
    health.message = condition.message
    if condition.status == "True" then
      health.status = "Healthy"
    end
  end
end
return health
