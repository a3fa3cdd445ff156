module example.invalid/cluster/crds

go 1.26.0

// Only their resource definitions are read; nothing of it is built.
require (
	github.com/kedacore/keda/v2 v2.20.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
