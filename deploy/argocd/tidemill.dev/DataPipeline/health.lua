-- Health of a DataPipeline: from its conditions, once the operator has looked at the manifest as it is now.
-- A pipeline whose last run failed is Degraded, though all that the manifest asks for is done (Ready).
local health = {status = "Progressing", message = "Waiting for the operator to look at it"}
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "It is being deleted"
  return health
end
if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready, stalled = conditions["Ready"], conditions["Stalled"]
local succeeding, paused = conditions["Succeeding"], conditions["Paused"]
if stalled ~= nil and stalled.status == "True" then
  health.status, health.message = "Degraded", stalled.message
elseif succeeding ~= nil and succeeding.status == "False" then
  health.status, health.message = "Degraded", succeeding.message
elseif ready == nil or ready.status ~= "True" then
  health.message = ready ~= nil and ready.message or health.message
elseif paused ~= nil and paused.status == "True" then
  health.status, health.message = "Suspended", paused.message
elseif ready.reason == "Suspended" then
  health.status, health.message = "Suspended", ready.message
else
  health.status, health.message = "Healthy", ready.message
end
return health
