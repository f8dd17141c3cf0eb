//! Which value a name has for a host at a task: precedence, facts, magic variables.
//!
//! Variables are looked up through the layers they may stand in, and never put together: what a task costs does not depend
//! on how many variables or facts there are.
