//! The history tree of RFC 6962 and RFC 9162.
