//! Explanations of evidence.
