"""The Flower ServerApp: translation only; the rounds are in `server.rounds`."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.parts import GlobalStudent, Server
from server.rounds import run_rounds


def make_server_app(server: Server, student: GlobalStudent) -> ServerApp:
    """A ServerApp that runs all rounds on whatever Grid it is given."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        run_rounds(server, student, grid)

    return app
