//! Which of the running kernel's fields the programs read, and what is missing without one.

use super::btf::Btf;
use proxy_common::abi::{NO_OFFSET, Offsets};

/// The offsets in the running kernel; a field that it lacks is [`NO_OFFSET`].
#[must_use]
pub(super) fn of(btf: &Btf) -> Offsets {
    let at = |structure, path| btf.offset(structure, path).unwrap_or(NO_OFFSET);
    Offsets {
        copied_seq: at("tcp_sock", "copied_seq"),
        write_seq: at("tcp_sock", "write_seq"),
        rcv_nxt: at("tcp_sock", "rcv_nxt"),
        snd_una: at("tcp_sock", "snd_una"),
        sock_ops_flags: at("tcp_sock", "bpf_sock_ops_cb_flags"),
        sk_shutdown: at("sock", "sk_shutdown"),
        sk_err: at("sock", "sk_err"),
        sk_flags: at("sock_common", "skc_flags"),
        sk_cgroup: at("sock", "sk_cgrp_data.cgroup"),
        cgroup_kn: at("cgroup", "kn"),
        kn_id: at("kernfs_node", "id"),
        task_tgid: at("task_struct", "tgid"),
        task_leader: at("task_struct", "group_leader"),
        task_comm: at("task_struct", "comm"),
        skc_state: at("sock_common", "skc_state"),
        skc_family: at("sock_common", "skc_family"),
        inet_sport: at("inet_sock", "inet_sport"),
        skc_dport: at("sock_common", "skc_dport"),
        skc_rcv_saddr: at("sock_common", "skc_rcv_saddr"),
        skc_daddr: at("sock_common", "skc_daddr"),
        skc_v6_rcv_saddr: at("sock_common", "skc_v6_rcv_saddr"),
        skc_v6_daddr: at("sock_common", "skc_v6_daddr"),
        skc_net: at("sock_common", "skc_net.net"),
        net_cookie: at("net", "net_cookie"),
        skb_head: at("sk_buff", "head"),
        skb_network_header: at("sk_buff", "network_header"),
        skb_dev: at("sk_buff", "dev"),
        dev_net: at("net_device", "nd_net.net"),
        tcp_header_len: at("tcp_sock", "tcp_header_len"),
        ts_recent: at("tcp_sock", "rx_opt.ts_recent"),
        ts_offset: at("tcp_sock", "tsoffset"),
        tw_substate: at("tcp_timewait_sock", "tw_sk.tw_substate"),
        tw_rcv_nxt: at("sock_common", "skc_tw_rcv_nxt"),
        tw_snd_nxt: at("sock_common", "skc_tw_snd_nxt"),
        tw_ts_recent: at("tcp_timewait_sock", "tw_ts_recent"),
        tw_ts_offset: at("tcp_timewait_sock", "tw_ts_offset"),
        md5_keys: at("tcp_sock", "md5sig_info"),
        ao_info: at("tcp_sock", "ao_info"),
        tw_md5_key: at("tcp_timewait_sock", "tw_md5_key"),
        tw_ao_info: at("tcp_timewait_sock", "ao_info"),
    }
}

/// What the programs that change a close would need and the kernel that `btf` describes does not
/// tell.
#[must_use]
pub fn lacking(btf: &Btf) -> Vec<&'static str> {
    let offsets = of(btf);
    [
        (offsets.write_seq, "tcp_sock.write_seq"),
        (offsets.copied_seq, "tcp_sock.copied_seq"),
        (offsets.sk_shutdown, "sock.sk_shutdown"),
        (offsets.sk_flags, "sock_common.skc_flags"),
    ]
    .into_iter()
    .filter_map(|(at, name)| (at == NO_OFFSET).then_some(name))
    .collect()
}

/// What the program that ends connections from outside would need and this kernel does not tell.
#[must_use]
pub(super) fn missing_for_strikes(offsets: &Offsets) -> Vec<&'static str> {
    [
        (offsets.skc_state, "sock_common.skc_state"),
        (offsets.write_seq, "tcp_sock.write_seq"),
        (offsets.tcp_header_len, "tcp_sock.tcp_header_len"),
        (offsets.ts_recent, "tcp_sock.rx_opt.ts_recent"),
        (offsets.ts_offset, "tcp_sock.tsoffset"),
        (offsets.tw_substate, "inet_timewait_sock.tw_substate"),
        (offsets.tw_rcv_nxt, "sock_common.skc_tw_rcv_nxt"),
        (offsets.tw_snd_nxt, "sock_common.skc_tw_snd_nxt"),
        (offsets.tw_ts_recent, "tcp_timewait_sock.tw_ts_recent"),
        (offsets.tw_ts_offset, "tcp_timewait_sock.tw_ts_offset"),
    ]
    .into_iter()
    .filter_map(|(at, name)| (at == NO_OFFSET).then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_every_field() {
        let offsets = of(&Btf::of_kernel().expect("this kernel shows no BTF"));
        // A kernel may be built without signatures.
        let offsets = Offsets { md5_keys: 0, ao_info: 0, tw_md5_key: 0, tw_ao_info: 0, ..offsets };
        let words: &[u32] = bytemuck::cast_slice(bytemuck::bytes_of(&offsets));
        let missing: Vec<usize> =
            words.iter().enumerate().filter(|(_, at)| **at == NO_OFFSET).map(|(i, _)| i).collect();
        assert!(missing.is_empty(), "fields without an offset, by index: {missing:?}");
    }
}
