//! What a controller and the program that works on a machine say to each other.

pub mod files;
