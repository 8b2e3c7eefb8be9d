// Reads Kubernetes objects (a JSON List) from stdin and prints for each what kstatus makes of it, as Flux and
// kubectl-like tools compute it: one JSON object a line.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	flux "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type verdict struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Status  string `json:"status"`
	Message string `json:"message"`
	Flux    string `json:"flux"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func run() error {
	list := unstructured.UnstructuredList{}
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for i := range list.Items {
		object := &list.Items[i]
		computed, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		byFlux, err := flux.Compute(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		told := verdict{object.GetKind(), object.GetName(), string(computed.Status), computed.Message, string(byFlux.Status)}
		if err := out.Encode(told); err != nil {
			return err
		}
	}
	return nil
}
