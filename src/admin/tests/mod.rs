//! The admin site as a browser and a program meet it: whole requests against the router, over stores in memory.

mod fixture;
mod preview;
