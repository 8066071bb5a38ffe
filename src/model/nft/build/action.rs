//! Statements that do something.

use crate::model::nft::{LogOptions, RejectWith, Statement, Verdict};

/// `counter`.
pub fn counter() -> Statement {
    Statement::Counter { packets: 0, bytes: 0 }
}

/// `log prefix "…"`, at the default level.
pub fn log(prefix: &str) -> Statement {
    Statement::Log(LogOptions { prefix: Some(prefix.to_owned()), ..LogOptions::default() })
}

/// `accept`.
pub fn accept() -> Statement {
    Statement::Verdict(Verdict::Accept)
}

/// `drop`.
pub fn drop() -> Statement {
    Statement::Verdict(Verdict::Drop)
}

/// `return`.
pub fn return_() -> Statement {
    Statement::Verdict(Verdict::Return)
}

/// `jump CHAIN`.
pub fn jump(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Jump(chain.to_owned()))
}

/// `goto CHAIN`.
pub fn goto(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Goto(chain.to_owned()))
}

/// `reject with tcp reset`; wants [`l4proto`] of TCP before it.
pub fn reject_tcp_reset() -> Statement {
    Statement::Reject(RejectWith::TcpReset)
}

/// `reject with icmpx port-unreachable`, in `inet` and `bridge` tables.
pub fn reject_port_unreachable() -> Statement {
    Statement::Reject(RejectWith::Icmpx(1))
}

/// `reject with icmpx admin-prohibited`, in `inet` and `bridge` tables.
pub fn reject_admin_prohibited() -> Statement {
    Statement::Reject(RejectWith::Icmpx(3))
}
