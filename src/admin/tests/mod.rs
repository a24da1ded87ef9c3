//! The admin site as a browser and a program meet it: whole requests against the router, over stores in memory.

mod accounts;
mod activity;
mod api;
mod api_roles;
mod audit;
mod cascade;
mod events;
mod fixture;
mod health;
mod limits;
mod metrics;
mod openapi;
mod paged;
mod pages;
mod preview;
mod queue;
mod queued;
mod roles;
mod second_factor;
mod sessions;
mod setup;
mod telling;
mod twins;
mod ways_in;
mod webhooks;
mod whose_mail;
