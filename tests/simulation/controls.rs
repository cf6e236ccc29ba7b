//! Negative controls: what is wrong on purpose must fail the same checks.
