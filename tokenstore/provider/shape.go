package provider

import (
	"encoding/json"
	"fmt"

	"github.com/tokenward/tokenward/tokenstore"
)

// Shape implements tokenstore.Driver.
func (d *dialect) Shape(ref tokenstore.Refusal) (string, []byte) {
	object := d.shape(ref)
	object["tokenward"] = about(ref)
	body, _ := json.Marshal(object) // strings and numbers always marshal
	return "application/json", body
}

// refusalText is the text of a refusal, with the provider's own when it is known.
func refusalText(ref tokenstore.Refusal) string {
	switch {
	case ref.ProviderMessage != "":
		return fmt.Sprintf("%s (provider's answer %d: %s)", ref.Message, ref.ProviderStatus, ref.ProviderMessage)
	case ref.ProviderStatus != 0:
		return fmt.Sprintf("%s (provider's answer: %d)", ref.Message, ref.ProviderStatus)
	}
	return ref.Message
}

func about(ref tokenstore.Refusal) map[string]any {
	m := map[string]any{"reason": string(ref.Reason)}
	if ref.ProviderStatus != 0 {
		m["provider_status"] = ref.ProviderStatus
	}
	return m
}

// openAIShape is the error object of OpenAI's API, which most compatible servers speak.
func openAIShape(ref tokenstore.Refusal) map[string]any {
	return map[string]any{"error": map[string]any{
		"message": refusalText(ref), "type": "server_error", "code": string(ref.Reason),
	}}
}
