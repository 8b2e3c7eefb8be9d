"""Alert rules and dashboards as data: the chart's parts, plain files and docs are made from them."""
