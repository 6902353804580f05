package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestACertificateStaysUntilItsLastMonth(t *testing.T) {
	folder, now := t.TempDir(), time.Now()
	at := func(now time.Time) []byte {
		t.Helper()
		if err := certificate(folder, now); err != nil {
			t.Fatal(err)
		}
		pem, err := os.ReadFile(filepath.Join(folder, "admin.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return pem
	}
	first := at(now)
	if !bytes.Equal(first, at(now.Add(life-enough-time.Hour))) {
		t.Error("a good certificate was replaced")
	}
	if bytes.Equal(first, at(now.Add(life-enough+time.Hour))) {
		t.Error("a certificate that ends soon was kept")
	}
}
