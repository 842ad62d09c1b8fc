//! Rules on connections: `tcp-request` and `tcp-response` lines.

use super::{BACK, Directive, EVERY, FRONT, at};

/// `tcp-request` and `tcp-response` lines.
pub const CONNECTION: &[Directive] = &[
    at(
        FRONT,
        "tcp-request connection",
        "accept|reject|silent-drop|expect-proxy layer4|set-var(VAR) SAMPLE|set-var-fmt(VAR) F|unset-var(VAR), each with [if|unless CONDITION]",
        "none",
        "Rules on connections that were just accepted, in order. `reject` closes with RST. `silent-drop` closes so that the client hears as little as can be ([where it ends](haproxy.md#silent-drop)). With `expect-proxy` a proxy connects, as with `accept-proxy` of `bind`, which is looked at for each connection. Those of a `defaults` section, which has to have a name, are for frontends.",
    ),
    at(
        EVERY,
        "tcp-request content",
        "accept|reject|silent-drop|capture SAMPLE len N|set-var(VAR) SAMPLE|set-var-fmt(VAR) F|unset-var(VAR), each with [if|unless CONDITION]",
        "none",
        "Rules on what clients send, in order: those of the frontend before it chooses a backend, and then the backend's. In `mode http` they come before the other rules, once a request's head is there; in `mode tcp` they may wait for more. `reject` closes, without a word. `capture`, in frontends, keeps a sample for the log (`%hr`).",
    ),
    at(
        EVERY,
        "tcp-request inspect-delay",
        "TIME",
        "0",
        "In `mode tcp`: how long rules on content wait for what is still to come, where it decides. They wait no longer than until the client closes, or has sent all that there is room for.",
    ),
    at(
        FRONT,
        "tcp-request session",
        "accept|reject|silent-drop|set-var(VAR) SAMPLE|set-var-fmt(VAR) F|unset-var(VAR), each with [if|unless CONDITION]",
        "none",
        "Rules on connections once it is known whose they are, behind a PROXY line. `reject` closes.",
    ),
    at(
        BACK,
        "tcp-response content",
        "accept|reject|close|set-var(VAR) SAMPLE|set-var-fmt(VAR) F|unset-var(VAR), each with [if|unless CONDITION]",
        "none",
        "In `mode tcp`: rules on what servers send, in order; they may wait for more. `reject` closes both sides, and what the server has sent is thrown away; `close` ends the server's side with RST and passes that on first.",
    ),
    at(
        BACK,
        "tcp-response inspect-delay",
        "TIME",
        "0",
        "How long rules on what servers send wait for what is still to come, where it decides. They wait no longer than until the server closes, or has sent all that there is room for.",
    ),
];
