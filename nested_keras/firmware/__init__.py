"""Standalone C, firmware and emulators."""
