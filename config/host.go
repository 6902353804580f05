package config

import (
	"fmt"
	"os"
)

// checkHost looks at the folders that are trusted: a name with a typing error in it would trust nothing.
func (k *checker) checkHost() {
	for i, folder := range k.config.Host.TrustedFolders {
		if st, err := os.Stat(folder); err != nil || !st.IsDir() {
			k.bad(fmt.Sprintf("host.trusted_folders[%d]", i), folder,
				"is no folder of this machine", "make it first, or remove it from the list")
		}
	}
}
