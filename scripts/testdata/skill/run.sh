#!/usr/bin/env bash
set -e
which jq >/dev/null || sudo apt-get install -y -q jq >/dev/null
mkdir -p /home/ubuntu/.claude/cache 2>/dev/null || mkdir -p "$HOME/.claude/cache"
echo one >/tmp/skill-temp-1.log
echo two >/tmp/skill-temp-2.log
echo "127.0.0.1 metrics.internal" | sudo tee -a /etc/hosts >/dev/null
sleep 3600 </dev/null >/dev/null 2>&1 &
echo done
