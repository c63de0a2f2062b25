"""What terminals and ``jhub-tokens status`` say, in English and Chinese."""

from __future__ import annotations

from typing import Any

__all__ = ["REASONS", "duration", "language_of", "say"]

_SAY = {
    "en": {
        "stops": "This server stops in {left}: {reason}.",
        "saves": "This server stops in {left}: {reason}. Open documents are being saved.",
        "stopping": "This server is being stopped: {reason}.",
        "balance": "Balance {balance} of {allotment}, burning {burn} an hour",
        "cost": "This session has cost {cost} so far",
        "left": "It stops in {left}: {reason}",
        "no_end": "No end in sight",
        "kept": "Kept running, even if idle, for {left} more",
        "age": "As of {age} ago",
        "away": "The token service is away; this is what was known {age} ago",
        "refused": "The token service refuses this server's token; this was known {age} ago",
        "unknown": "Nothing is known: is the jhub-tokens extension running in this server?",
        "now": "a moment",
    },
    "zh": {
        "stops": "此服务器将在 {left} 后停止：{reason}。",
        "saves": "此服务器将在 {left} 后停止：{reason}。正在保存打开的文档。",
        "stopping": "此服务器正在停止：{reason}。",
        "balance": "额度 {balance} / {allotment}，每小时消耗 {burn}",
        "cost": "本次会话已消耗 {cost}",
        "left": "将在 {left} 后停止：{reason}",
        "no_end": "暂无停止计划",
        "kept": "即使空闲也将继续运行 {left}",
        "age": "{age} 前的数据",
        "away": "额度服务暂时无法访问；以下是 {age} 前的数据",
        "refused": "额度服务拒绝了此服务器的令牌；以下是 {age} 前的数据",
        "unknown": "暂无数据：此服务器是否运行了 jhub-tokens 扩展？",
        "now": "片刻",
    },
}
#: Why a server is stopped; the interface has the same.
REASONS = {
    "en": {
        "dry": "the balance is used up",
        "max_run": "its longest run is over",
        "day_limit": "today's limit is reached",
        "week_limit": "this week's limit is reached",
        "team_cap": "your share of the team's tokens is spent",
        "left_team": "you are no longer in the team that pays",
        "frozen": "your membership is frozen",
        "asked": "you asked for it",
        "ordered": "an administrator stopped it",
        "idle": "nothing uses it",
    },
    "zh": {
        "dry": "额度已用完",
        "max_run": "已达最长运行时间",
        "day_limit": "已达今日上限",
        "week_limit": "已达本周上限",
        "team_cap": "您在团队额度中的份额已用完",
        "left_team": "您已不在付费团队中",
        "frozen": "会员资格已冻结",
        "asked": "您要求停止",
        "ordered": "管理员停止了服务器",
        "idle": "无人使用",
    },
}
_UNITS = {"en": (" d", " h", " min", " s"), "zh": (" 天", " 小时", " 分钟", " 秒")}


def language_of(locale: str) -> str:
    """Return the language that we have for a locale such as ``zh_CN``."""
    return "zh" if locale.lower().startswith("zh") else "en"


def say(key: str, language: str, **values: Any) -> str:
    """Return a sentence; a `reason` is given by its code."""
    if "reason" in values:
        values["reason"] = REASONS[language].get(str(values["reason"]), str(values["reason"]))
    return _SAY[language][key].format(**values)


def duration(ms: float, language: str) -> str:
    """Return a span of time in its two largest units."""
    seconds = max(0, round(ms / 1000))
    if not seconds:
        return _SAY[language]["now"]
    amounts = (
        seconds // 86_400,
        seconds % 86_400 // 3600,
        seconds % 3600 // 60,
        seconds % 60,
    )
    first = next(place for place, amount in enumerate(amounts) if amount)
    shown = [
        f"{amounts[place]}{_UNITS[language][place]}"
        for place in range(first, min(first + 2, 4))
        if amounts[place]
    ]
    return " ".join(shown)
