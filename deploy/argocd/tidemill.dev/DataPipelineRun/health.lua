-- Health of a DataPipelineRun: Stalled, as one that failed, is Degraded; skipped and cancelled are no failure, and no
-- success.
local of = {Succeeded = "Healthy", Skipped = "Suspended", Cancelled = "Suspended"}
local health = {status = "Progressing", message = "Waiting for the operator to look at it"}
if obj.status == nil or obj.status.phase == nil then
  return health
end
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Ready" then
    health.message = condition.message
  elseif condition.type == "Stalled" and condition.status == "True" then
    health.status = "Degraded"
  end
end
health.status = of[obj.status.phase] or health.status
return health
