//! Way for other threads to reach a shard: they leave commands and wake it.

use super::connection::Connection;
use mio::Waker;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::error;

/// What other threads want from a shard.
pub(super) struct ShardHandle {
    waker: Waker,
    /// A std lock: held to put something in or to take everything out.
    commands: Mutex<Commands>,
}

/// Commands that the shard has not taken yet.
#[derive(Default)]
pub(super) struct Commands {
    /// New connections, each with what is to be sent to it first.
    pub(super) adopted: Vec<(Connection, Vec<u8>)>,
    /// Keys of connections for which something that they waited for is done.
    pub(super) completed: Vec<usize>,
    /// Whether all connections are to be closed.
    pub(super) draining: bool,
    /// Whether the shard has ended, so that nobody would take a command.
    ended: bool,
}

impl ShardHandle {
    pub(super) fn new(waker: Waker) -> ShardHandle {
        ShardHandle { waker, commands: Mutex::default() }
    }

    /// Hands a connection over, with what is to be sent first. It is dropped if the shard has ended.
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

    /// Has the shard close all connections.
    pub(super) fn drain(&self) {
        self.lock().draining = true;
        self.wake();
    }

    /// Tells the shard that what the connection waited for is done.
    pub(super) fn complete(&self, key: usize) {
        self.lock().completed.push(key);
        self.wake();
    }

    /// Has the shard look at its commands and at the feed.
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            error!(%error, "cannot wake a shard");
        }
    }

    /// Takes all commands.
    pub(super) fn take(&self) -> Commands {
        let mut commands = self.lock();
        Commands {
            adopted: std::mem::take(&mut commands.adopted),
            completed: std::mem::take(&mut commands.completed),
            draining: commands.draining,
            ended: commands.ended,
        }
    }

    /// Ends the shard if no connection waits to be adopted. Returns whether it has ended.
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
