"""The texts of JupyterHub's own pages (5.5 and 6.1), so that they can be translated.

They are written as they stand between two tags or fills of the template, with single blanks. A
test tells of a text of the hub's templates that is missing here.
"""

from __future__ import annotations

from jhub_tokens.i18n import N_

__all__ = ["HUB_TEXTS", "OUR_WORDS"]

#: What is said instead of a text of the hub's: where tokens are what is paid with, a page "Token"
#: would be the place to buy some.
OUR_WORDS = {"Token": N_("API tokens")}

HUB_TEXTS = frozenset(
    [
        # accept-share.html
        N_("Accept sharing invitation"),
        N_("You ("),
        N_(") have been invited to access"),
        N_("'s server"),
        N_("The server at"),
        N_("is not currently running. After accepting permission, you may need to ask"),
        N_("to start the server before you can access it."),
        N_(
            "By accepting the invitation, you will be granted the following permissions, "
            "restricted to this particular server:"
        ),
        N_("Applies to"),
        N_("Accept invitation"),
        N_("After accepting the invitation, you will be redirected to"),
        # home.html
        N_("JupyterHub home page"),
        N_("Stop My Server"),
        N_("Start"),
        N_("My Server"),
        N_("Named Servers"),
        N_("In addition to your default server, you may have additional"),
        N_(
            "server(s) with names. This allows you to have more than one server running at "
            "the same time."
        ),
        N_("JupyterHub 6 has"),
        N_("new restrictions on servernames"),
        N_(". Consider migrating named servers:"),
        N_("Server name"),
        N_("Last activity"),
        N_("Actions"),
        N_("server name"),
        N_("name-your-server"),
        N_("Add New Server"),
        N_("Never"),
        N_("stop"),
        N_("start"),
        N_("delete"),
        # login.html
        N_(
            "Warning: JupyterHub seems to be served over an unsecured HTTP connection. We "
            "strongly recommend enabling HTTPS for JupyterHub."
        ),
        N_("Sign in with"),
        N_("Sign in"),
        N_("Username:"),
        N_("Password:"),
        N_("Show password"),
        N_("By logging into the platform you accept the"),
        N_("terms and conditions"),
        # logout.html
        N_("Successfully logged out."),
        # not_running.html
        N_("Spawn failed"),
        N_("Server not running"),
        N_("The latest attempt to start your server"),
        N_("has failed."),
        N_("Would you like to retry starting it?"),
        N_("Your server"),
        N_("is not running."),
        N_(
            "It will be restarted automatically. If you are not redirected in a few seconds, "
            "click below to launch your server."
        ),
        N_("Would you like to start it?"),
        N_("Relaunch"),
        N_("Launch"),
        N_("Server"),
        # oauth.html
        N_("Authorize access"),
        N_(
            "An application is requesting authorization to access data associated with your "
            "JupyterHub account"
        ),
        N_("(oauth URL:"),
        N_(") would like permission to identify you."),
        N_("It will not be able to take actions on your behalf."),
        N_("This will grant the application permission to:"),
        N_("This authorization is required"),
        N_("Authorize"),
        # page.html
        N_("Close"),
        N_("JupyterHub requires JavaScript."),
        N_("Please enable it to proceed."),
        N_("JupyterHub logo"),
        N_("Home"),
        N_("Toggle navigation"),
        N_("Token"),
        N_("Admin"),
        N_("Services"),
        N_("Toggle dark mode"),
        N_("Logout"),
        N_("Login"),
        # spawn.html
        N_("Server Options"),
        N_("Spawning server for"),
        N_("Error:"),
        # spawn_pending.html
        N_("Your server is starting up."),
        N_("You will be redirected automatically when it's ready for you."),
        N_("Complete"),
        N_("Event log"),
        N_("Stop Server"),
        # stop_pending.html
        N_("Your server is stopping."),
        N_("You will be able to start it again once it has finished stopping."),
        N_("refresh"),
        # token.html
        N_("Manage JupyterHub Tokens"),
        N_("Note"),
        N_("note to identify your new token"),
        N_("This note will help you keep track of what your tokens are for."),
        N_("Token expires in"),
        N_("You can configure when your token will expire."),
        N_("Permissions"),
        N_("list of scopes for the token to have, separated by space"),
        N_(
            "You can limit the permissions of the token so it can only do what you want it "
            "to. If none are specified, the token will have permission to do everything you "
            "can do. See the"
        ),
        N_("JupyterHub documentation for a list of available scopes"),
        N_("Request new API token"),
        N_("Your new API Token"),
        N_(
            "Copy this token. You won't be able to see it again, but you can always come back "
            "here to get a new one."
        ),
        N_("API Tokens"),
        N_(
            "These are tokens with access to the JupyterHub API. Permissions for each token "
            "may be viewed via the JupyterHub tokens API. Revoking the API token for a "
            "running server will require restarting that server."
        ),
        N_("Last used"),
        N_("Created"),
        N_("Expires"),
        N_("scopes"),
        N_("revoke"),
        N_("Authorized Applications"),
        N_(
            "These are applications that use OAuth with JupyterHub to identify users (mostly "
            "notebook servers). OAuth tokens can generally only be used to identify you, not "
            "take actions on your behalf."
        ),
        N_("Application"),
        N_("First authorized"),
        # 404.html
        N_("Jupyter has lots of moons, but this is not one..."),
    ]
)
