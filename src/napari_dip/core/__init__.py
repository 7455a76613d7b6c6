"""What is measured, and what comes out: values, settings, errors, arrays, device."""
