# /etc/profile resets PATH; sessions see what the notebook sees.
if [ -r /run/jhub/environment.sh ]; then
    . /run/jhub/environment.sh
fi
