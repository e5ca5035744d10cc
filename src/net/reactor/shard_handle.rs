//! Handle of a shard. Other threads use it to queue commands and to wake the shard.

use super::connection::Connection;
use mio::Waker;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::error;

/// Handle of a shard.
pub(super) struct ShardHandle {
    waker: Waker,
    /// A std lock, because it is held only to add a command or to take all.
    commands: Mutex<Commands>,
}

/// Commands for the shard.
#[derive(Default)]
pub(super) struct Commands {
    /// New connections, each with the bytes to send first.
    pub(super) adopted: Vec<(Connection, Vec<u8>)>,
    /// Keys of connections to run: their load or save is done, or their memory
    /// [`Account`](crate::net::client_memory::Account) was reset.
    pub(super) completed: Vec<usize>,
    /// The number of groups of connections that the shard must have closed, including those that it has closed already.
    /// The group of a connection is its key modulo [`GROUPS`](crate::shutdown::GROUPS).
    pub(super) drained_groups: usize,
    /// True if the shard must run all connections.
    pub(super) rechecking: bool,
    /// True if the shard must close all connections.
    pub(super) draining: bool,
    /// True if the shard has ended. If so, commands have no effect.
    ended: bool,
}

impl ShardHandle {
    pub(super) fn new(waker: Waker) -> ShardHandle {
        ShardHandle { waker, commands: Mutex::default() }
    }

    /// Passes a connection to the shard, with the bytes to send first. If the shard has ended, the connection is
    /// dropped.
    pub(super) fn adopt(&self, connection: Connection, head: Vec<u8>) {
        {
            let mut commands = self.lock();
            if commands.ended {
                return;
            }
            commands.adopted.push((connection, head));
        }
        self.wake();
    }

    /// Makes the shard close one more group of connections.
    pub(super) fn drain_group(&self) {
        self.lock().drained_groups += 1;
        self.wake();
    }

    /// Makes the shard run all connections.
    pub(super) fn recheck(&self) {
        self.lock().rechecking = true;
        self.wake();
    }

    /// Makes the shard close all connections.
    pub(super) fn drain(&self) {
        self.lock().draining = true;
        self.wake();
    }

    /// Makes the shard run a connection: its load or save is done, or its memory account was reset.
    pub(super) fn complete(&self, key: usize) {
        self.lock().completed.push(key);
        self.wake();
    }

    /// Wakes the shard, which then reads its commands and the head of the feed.
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            error!(%error, "cannot wake a shard");
        }
    }

    /// Returns all commands. Those that are executed once are removed.
    pub(super) fn take(&self) -> Commands {
        let mut commands = self.lock();
        Commands {
            adopted: std::mem::take(&mut commands.adopted),
            completed: std::mem::take(&mut commands.completed),
            drained_groups: commands.drained_groups,
            rechecking: std::mem::take(&mut commands.rechecking),
            draining: commands.draining,
            ended: commands.ended,
        }
    }

    /// Ends the shard, unless a connection waits to be adopted. Returns whether it has ended.
    pub(super) fn end_if_empty(&self) -> bool {
        let mut commands = self.lock();
        commands.ended = commands.adopted.is_empty();
        commands.ended
    }

    /// Ends the shard and drops the connections that wait to be adopted.
    pub(super) fn end(&self) {
        let mut commands = self.lock();
        commands.ended = true;
        commands.adopted.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Commands> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
