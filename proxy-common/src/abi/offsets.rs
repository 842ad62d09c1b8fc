//! Where the running kernel keeps what the programs read of its own structures.

use bytemuck::{Pod, Zeroable};

/// An entry of [`Offsets`] that the running kernel does not have.
pub const NO_OFFSET: u32 = u32::MAX;

/// Where the running kernel keeps what the programs read, from its BTF, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Offsets {
    /// `tcp_sock.copied_seq`: the application has read up to here.
    pub copied_seq: u32,
    /// `tcp_sock.write_seq`: the application has written up to here.
    pub write_seq: u32,
    /// `tcp_sock.rcv_nxt`: the next byte expected.
    pub rcv_nxt: u32,
    /// `tcp_sock.snd_una`: the first byte not acknowledged.
    pub snd_una: u32,
    /// `tcp_sock.bpf_sock_ops_cb_flags`: which call-backs the socket makes.
    pub sock_ops_flags: u32,
    /// `sock.sk_shutdown`.
    pub sk_shutdown: u32,
    /// `sock.sk_err`.
    pub sk_err: u32,
    /// `sock_common.skc_flags`.
    pub sk_flags: u32,
    /// `sock.sk_cgrp_data.cgroup`.
    pub sk_cgroup: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `kernfs_node.id`.
    pub kn_id: u32,
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.group_leader`.
    pub task_leader: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `sock_common.skc_state`.
    pub skc_state: u32,
    /// `sock_common.skc_family`.
    pub skc_family: u32,
    /// `inet_sock.inet_sport`: the local port, network order; `skc_num` is 0 after an abort.
    pub inet_sport: u32,
    /// `sock_common.skc_dport`: the remote port, network order.
    pub skc_dport: u32,
    /// `sock_common.skc_rcv_saddr`.
    pub skc_rcv_saddr: u32,
    /// `sock_common.skc_daddr`.
    pub skc_daddr: u32,
    /// `sock_common.skc_v6_rcv_saddr`.
    pub skc_v6_rcv_saddr: u32,
    /// `sock_common.skc_v6_daddr`.
    pub skc_v6_daddr: u32,
    /// `sock_common.skc_net.net`.
    pub skc_net: u32,
    /// `net.net_cookie`.
    pub net_cookie: u32,
    /// `sk_buff.head`.
    pub skb_head: u32,
    /// `sk_buff.network_header`.
    pub skb_network_header: u32,
    /// `sk_buff.dev`.
    pub skb_dev: u32,
    /// `net_device.nd_net.net`.
    pub dev_net: u32,
    /// `tcp_sock.tcp_header_len`: 20, or 32 with timestamps.
    pub tcp_header_len: u32,
    /// `tcp_sock.rx_opt.ts_recent`: what TSecr echoes.
    pub ts_recent: u32,
    /// `tcp_sock.tsoffset`: what TSval adds to the clock.
    pub ts_offset: u32,
    /// `inet_timewait_sock.tw_substate`: FIN_WAIT2, or TIME_WAIT in earnest.
    pub tw_substate: u32,
    /// `sock_common.skc_tw_rcv_nxt`, of a minisock.
    pub tw_rcv_nxt: u32,
    /// `sock_common.skc_tw_snd_nxt`, of a minisock.
    pub tw_snd_nxt: u32,
    /// `tcp_timewait_sock.tw_ts_recent`: 0 without timestamps.
    pub tw_ts_recent: u32,
    /// `tcp_timewait_sock.tw_ts_offset`.
    pub tw_ts_offset: u32,
    /// `tcp_sock.md5sig_info`, a pointer; only where the kernel signs (TCP-MD5).
    pub md5_keys: u32,
    /// `tcp_sock.ao_info`, a pointer; only where the kernel signs (TCP-AO, from 6.7 on).
    pub ao_info: u32,
    /// `tcp_timewait_sock.tw_md5_key`; as `md5_keys`.
    pub tw_md5_key: u32,
    /// `tcp_timewait_sock.ao_info`; as `ao_info`.
    pub tw_ao_info: u32,
}

impl Offsets {
    /// No offset known: every feature that needs one is off.
    pub const NONE: Self = Self {
        copied_seq: NO_OFFSET,
        write_seq: NO_OFFSET,
        rcv_nxt: NO_OFFSET,
        snd_una: NO_OFFSET,
        sock_ops_flags: NO_OFFSET,
        sk_shutdown: NO_OFFSET,
        sk_err: NO_OFFSET,
        sk_flags: NO_OFFSET,
        sk_cgroup: NO_OFFSET,
        cgroup_kn: NO_OFFSET,
        kn_id: NO_OFFSET,
        task_tgid: NO_OFFSET,
        task_leader: NO_OFFSET,
        task_comm: NO_OFFSET,
        skc_state: NO_OFFSET,
        skc_family: NO_OFFSET,
        inet_sport: NO_OFFSET,
        skc_dport: NO_OFFSET,
        skc_rcv_saddr: NO_OFFSET,
        skc_daddr: NO_OFFSET,
        skc_v6_rcv_saddr: NO_OFFSET,
        skc_v6_daddr: NO_OFFSET,
        skc_net: NO_OFFSET,
        net_cookie: NO_OFFSET,
        skb_head: NO_OFFSET,
        skb_network_header: NO_OFFSET,
        skb_dev: NO_OFFSET,
        dev_net: NO_OFFSET,
        tcp_header_len: NO_OFFSET,
        ts_recent: NO_OFFSET,
        ts_offset: NO_OFFSET,
        tw_substate: NO_OFFSET,
        tw_rcv_nxt: NO_OFFSET,
        tw_snd_nxt: NO_OFFSET,
        tw_ts_recent: NO_OFFSET,
        tw_ts_offset: NO_OFFSET,
        md5_keys: NO_OFFSET,
        ao_info: NO_OFFSET,
        tw_md5_key: NO_OFFSET,
        tw_ao_info: NO_OFFSET,
    };
}
