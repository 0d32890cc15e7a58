#!/usr/bin/env bash
# Links the dotfiles into the home folder.
set -e
ln -sf "$HOME/dotfiles/vimrc" "$HOME/.vimrc"
