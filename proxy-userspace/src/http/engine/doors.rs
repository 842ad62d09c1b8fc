//! The tasks that accept, one for each socket.

use std::{rc::Rc, sync::Arc};

use crate::http::{
    accept::{self, Door},
    listener::Ear,
    reception::Reception,
};

/// A task that accepts for a frontend.
pub(super) struct DoorTask {
    pub(super) frontend: String,
    task: async_task::Task<()>,
}

/// Accepts on these sockets.
pub(super) fn open(reception: &Rc<Reception>, doors: Vec<Ear>) -> Vec<DoorTask> {
    let proxies = Rc::clone(&reception.worker.proxies.borrow());
    let open = |ear: Ear| {
        let frontend = Arc::clone(proxies.frontend(&ear.frontend)?);
        let name = ear.frontend.clone();
        let door = Door { ear, frontend };
        let (reception, proxies) = (Rc::clone(reception), Rc::clone(&proxies));
        let told = name.clone();
        let runtime = Rc::clone(&reception.worker.runtime);
        let task = runtime.spawn(async move {
            if let Err(error) = accept::run(reception, proxies, door).await {
                tracing::error!(frontend = told, %error, "no longer accepting");
            }
        });
        Some(DoorTask { frontend: name, task })
    };
    doors.into_iter().filter_map(open).collect()
}

/// Stops accepting. The sockets may be watched anew afterwards.
pub(super) async fn shut(doors: Vec<DoorTask>) {
    for door in doors {
        // Its socket's place is gone when the task is.
        let _ = door.task.cancel().await;
    }
}
