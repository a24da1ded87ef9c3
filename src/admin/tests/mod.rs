//! The admin site as a browser and a program meet it: whole requests against the router, over stores in memory.

mod activity;
mod api;
mod audit;
mod events;
mod fixture;
mod metrics;
mod openapi;
mod pages;
mod preview;
mod queue;
mod queued;
mod roles;
mod sessions;
mod telling;
mod webhooks;
