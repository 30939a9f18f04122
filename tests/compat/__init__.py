"""Which suites hold on which versions of the provider programs: run, kept, and written to docs/compatibility.md."""
