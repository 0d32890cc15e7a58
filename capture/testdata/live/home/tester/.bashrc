# hi
export PATH="$HOME/bin:$PATH"
alias ls=ls
